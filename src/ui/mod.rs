//! The terminal. Knows session's types and nothing below.
