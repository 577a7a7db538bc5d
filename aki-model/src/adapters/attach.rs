//! Adapters put into a language model, and worked into its weights.

use std::convert::Infallible;

use burn::module::Module;
use burn::tensor::FloatDType;

use super::factors::float;
use super::{Adapter, AdapterConfig};
use crate::Aki;
use crate::language::LanguageModel;
use crate::linear::{Linear, Matrix};

impl Aki {
    /// Puts adapters into the language model; see [`LanguageModel::with_adapters`].
    ///
    /// # Panics
    ///
    /// As there.
    #[must_use]
    pub fn with_adapters(self, config: &AdapterConfig) -> Self {
        self.map_language(|language| language.with_adapters(config))
    }

    /// Freezes the language model under its adapters, as [`LanguageModel::with_adapters`] did; without
    /// adapters, nothing.
    #[must_use]
    pub fn frozen_under_adapters(self) -> Self {
        if !self.language().has_adapters() {
            return self;
        }
        let train = |_: &str, linear: Linear| -> Result<_, Infallible> {
            let adapter = linear.adapter().cloned();
            let adapter = adapter.map(|adapter| adapter.set_require_grad(true));
            Ok(linear.with_adapter(adapter))
        };
        self.map_language(|language| {
            let Ok(model) = language.frozen().map_linears(train);
            model
        })
    }

    /// The network with its adapters worked into its weights; see [`LanguageModel::merged`].
    #[must_use]
    pub fn merged(self) -> Self {
        self.map_language(LanguageModel::merged)
    }
}

impl LanguageModel {
    /// Puts an adapter beside each of the targets and freezes everything else but the rows of added
    /// tokens. The adapters are drawn in the order of the blocks, so that one seed (`device.seed`) gives
    /// the same ones; they are held in what their matrix is held in, those of packed ones in f32.
    ///
    /// Put them in when the weights have been loaded: a packed matrix takes the place of its weights. A
    /// network whose weights nobody has read yet stays so: nothing is drawn or packed, for all of it to be
    /// loaded.
    ///
    /// # Panics
    ///
    /// If the configuration does not fit the model ([`AdapterConfig::validate`] says so).
    #[must_use]
    pub fn with_adapters(self, config: &AdapterConfig) -> Self {
        let put_in = |path: &str, linear: Linear| -> Result<_, Infallible> {
            let name = path.rsplit('.').next().unwrap_or_default();
            if !config.targets.iter().any(|target| target == name) {
                return Ok(linear);
            }
            let (device, dtype) = linear.place();
            let place = (&device, dtype);
            let adapter = Adapter::undrawn(linear.dims(), config.rank, config.alpha, place);
            if linear.is_read() {
                let _drawn = adapter.factors();
            }
            let linear = match config.base.bits() {
                Some(bits) => linear.packed(bits),
                None => linear,
            };
            Ok(linear.with_adapter(Some(adapter)))
        };
        let Ok(model) = self.frozen().map_linears(put_in);
        model
    }

    /// Everything frozen but the rows of added tokens.
    pub(crate) fn frozen(self) -> Self {
        self.no_grad().train_added()
    }

    /// Whether it has adapters.
    pub fn has_adapters(&self) -> bool {
        self.linears()
            .iter()
            .any(|(_, linear)| linear.adapter().is_some())
    }

    /// The model with its adapters worked into its weights, `W + alpha / rank * A B`, one matrix after
    /// the other, and packed matrices unpacked. Weights are held in what they were, once packed ones in
    /// what their adapters are. What is not trained stays so: it is for use, not for more training.
    #[must_use]
    pub fn merged(self) -> Self {
        let merge = |_: &str, linear: Linear| -> Result<_, Infallible> {
            let Some(adapter) = linear.adapter() else {
                return Ok(linear);
            };
            let (weight, dtype) = match linear.matrix() {
                Matrix::Plain(weight) => (weight.val(), weight.dtype()),
                Matrix::Packed(packed) => (packed.unpacked(), adapter.factors()[0].dtype()),
            };
            // By rows of the checkpoint, which is how matrices lie in memory.
            let weight = weight.inner().transpose().cast(FloatDType::F32);
            let weight = (weight + adapter.product()).cast(float(dtype)).transpose();
            Ok(linear.with_weight(weight).with_adapter(None))
        };
        let Ok(model) = self.map_linears(merge);
        model
    }
}
