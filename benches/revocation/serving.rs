//! What clients notice while a million entries are taken in.

pub fn measure() {}
