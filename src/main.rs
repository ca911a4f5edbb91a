//! The program: everything is in the library.

/// Half of a scan over the store is the making and dropping of small values.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of `mi_option_purge_delay`, in milliseconds, for which the bindings have no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    give_back();
    suppressd::cli::main()
}

/// Gives memory back to the system as soon as it is free. By default that waits until its thread
/// asks for more, and what one storm took stays for good.
#[expect(unsafe_code, reason = "the allocator's options are a foreign function")]
fn give_back() {
    // SAFETY: it sets one number of the allocator's own, and no other thread is there yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}
