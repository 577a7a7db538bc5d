//! Values that several commands take.

use aki_model::attention::Policy;
use burn::tensor::DType;
use clap::ValueEnum;

/// What is typed for a value.
pub fn name_of(value: impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().to_owned()
}

/// Types of numbers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}

impl From<Dtype> for DType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::BF16,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PolicyArg {
    /// Every token sees what came before
    Causal,
    /// Every token sees everything
    Bidirectional,
    /// Everything up to the end of the question sees all of it
    Prefix,
    /// Causal, and the image sees the question
    Mma,
    /// Concentric causal: image tokens see their ring and those outside it
    Cca,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Causal => Self::Causal,
            PolicyArg::Bidirectional => Self::Bidirectional,
            PolicyArg::Prefix => Self::Prefix,
            PolicyArg::Mma => Self::Mma,
            PolicyArg::Cca => Self::Cca,
        }
    }
}
