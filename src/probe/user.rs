//! Becoming the user as whom things are tried.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody has that name.
    #[error("this host has no user {0:?}")]
    Unknown(String),
    /// The system refuses.
    #[error("cannot check as user {0}: {1} (only root can)")]
    Refused(String, &'static str),
}

/// Becomes a user for good; gives its name.
///
/// # Errors
/// When there is none of that name, or we may not.
pub fn become_named(name: &str) -> Result<String, UserError> {
    let user = User::from_name(name).ok().flatten();
    let user = user.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    if user.uid != geteuid() {
        let refused = |error: Errno| UserError::Refused(user.name.clone(), error.desc());
        become_one(&user).map_err(refused)?;
    }
    Ok(user.name)
}

/// Becomes the user of the unit for good, if we are root and this host has it; gives the name of
/// whoever we are then, if that has one.
///
/// # Errors
/// When we may not.
pub fn become_units() -> Result<Option<String>, UserError> {
    let units = if geteuid().is_root() { super::unit::user() } else { None };
    match units {
        Some(user) => become_named(&user.name).map(Some),
        None => Ok(User::from_uid(geteuid()).ok().flatten().map(|user| user.name)),
    }
}

/// Gives up what we are for what that user is.
fn become_one(user: &User) -> nix::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| Errno::EINVAL)?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)
}
