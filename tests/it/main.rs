//! Everything that is tested from outside, in one binary.

// Marked as tests as a whole, so that what helps them may unwrap too.
#[cfg(test)]
mod cli;
