//! Kernels: the rows of the table, the table itself, and calls.

mod call;
mod defines;
mod matrix;
mod row;
mod table;

pub use call::{Call, Work};
pub(super) use call::{barriers, work};
pub use row::{Access, Binding, Cell, Defines, Kernel, Needs, Traits};
pub use table::{KERNELS, kernel};
pub(super) use table::{kernel_for, variants};
