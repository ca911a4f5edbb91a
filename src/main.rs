//! The program: everything is in the library.

/// Half of a scan over the store is the making and dropping of small values.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    suppressd::cli::main()
}
