//! Weights in another type.

use burn::module::{ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};

/// Maps a module to the same with all of its weights in a type.
pub(crate) struct Cast(pub(crate) FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| weight.cast(self.0))
    }
}
