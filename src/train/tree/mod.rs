//! The runs of a folder: their list, forks, comparison and care.
//!
//! `survey` reads what lies in the runs; `fork` makes a new run of a checkpoint; `compare` puts up to four runs side by
//! side, and `trained` reads their training losses; `care` renames, pins and removes; `explorer` does all of it on a thread beside the training. Reading takes no lock.

mod care;
mod compare;
mod explorer;
mod fork;
mod survey;
mod trained;

pub(crate) use self::explorer::Explorer;
pub use self::{
    care::{pin, remove_checkpoint, remove_whole_run, rename},
    compare::{MOST_COMPARED, compare},
    fork::{Forked, Forking, NoPoint, Point, fork},
    survey::{Survey, survey, survey_run},
};
pub(in crate::train) use self::{explorer::look, survey::config as config_of};
