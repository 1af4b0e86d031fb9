//! Moving around: the focus, keys that move, the mouse.

pub(crate) mod find;
pub(crate) mod focus;
pub(crate) mod mouse;
pub(crate) mod walk;
