//! Giving way to others while cores are short.

/// Has this thread give way by so much more from now on. Where that is not allowed, it takes turns
/// as an equal.
pub fn give_way(by: i32) {
    let _ = rustix::process::nice(by);
}
