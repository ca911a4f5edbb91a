//! A value that can be exchanged while others use it: settings and registries, at a reload.
//!
//! Whoever uses it takes the present one at each piece of work, and finishes that with it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A value, and the place where the next one is put.
#[derive(Default)]
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// A place with its first value.
    pub fn new(value: impl Into<Arc<T>>) -> Current<T> {
        Current(RwLock::new(value.into()))
    }

    /// The present value.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another value in its place. Who has the old one finishes with that.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value.into();
    }
}

impl<T: fmt::Debug> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_value_keeps_it() {
        let current = Current::new(1);
        let old = current.get();
        current.set(2);
        assert_eq!((*old, *current.get()), (1, 2));
    }
}
