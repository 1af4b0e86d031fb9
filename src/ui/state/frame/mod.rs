//! What is in view: mode, panel, the layout of the newest frame, and the settings that are remembered.

mod drawn;
mod find;
mod mode;
mod panel;
mod settings;

pub use self::{
    drawn::{Click, Drawn},
    find::Find,
    mode::Mode,
    panel::{Panel, View},
    settings::Settings,
};
