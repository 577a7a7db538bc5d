//! Random changes to training pictures, and to what is said of them.
//!
//! ```text
//! run file -> Augmentation -> Variation --draw--> Change -> picture: crop, resize, flip, shift
//!                texts     -> Permits  ----^         `----> boxes: the same crop and flip
//! ```
//!
//! A flip makes "left" wrong and writing unreadable, a crop moves boxes and cuts away what is
//! counted. So a [`Variation`] draws what was asked for and then leaves out what [`Permits`] do
//! not allow. [`Augmentation::Reference`] leaves nothing out.

mod change;
mod crop;
mod permits;
mod setting;
mod variation;

pub use self::change::Change;
pub use self::crop::Crop;
pub use self::permits::Permits;
pub use self::setting::{Amounts, Augmentation};
pub use self::variation::Variation;
