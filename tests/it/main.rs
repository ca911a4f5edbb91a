//! Tests of the whole against what surrounds it: providers, listeners, files.

mod poll;
mod support;
