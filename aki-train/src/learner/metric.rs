//! Metrics of Burn: the share of answers that are exactly right, and the norm of the gradients.

use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

/// Percentage of rows whose answer is exactly right.
#[derive(Clone)]
pub(crate) struct ExactMatch {
    name: MetricName,
    state: NumericMetricState,
}

/// For each row, whether its answer is exactly right.
pub(crate) struct ExactMatchInput(pub(super) Vec<bool>);

impl ExactMatch {
    /// The metric's name in logs.
    pub(crate) const NAME: &str = "Accuracy";

    pub(crate) fn new() -> Self {
        Self {
            name: Arc::new(Self::NAME.to_owned()),
            state: NumericMetricState::default(),
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).unit("%").precision(2)
    }
}

impl Metric for ExactMatch {
    type Input = ExactMatchInput;

    fn update(
        &mut self,
        ExactMatchInput(exact): &ExactMatchInput,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let right = exact.iter().filter(|&&right| right).count();
        self.state.update(
            100.0 * right as f64 / exact.len().max(1) as f64,
            exact.len(),
        );
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: Some("%".to_owned()),
            higher_is_better: true,
        }
        .into()
    }
}

impl Numeric for ExactMatch {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

/// Global norm of a step's gradients, before they are clipped.
#[derive(Clone)]
pub struct GradientNorm {
    name: MetricName,
    state: NumericMetricState,
}

/// A step's norm.
pub struct GradientNormInput(pub f64);

impl Default for GradientNorm {
    fn default() -> Self {
        Self {
            name: Arc::new("Gradient Norm".to_owned()),
            state: NumericMetricState::default(),
        }
    }
}

impl GradientNorm {
    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(3)
    }
}

impl Metric for GradientNorm {
    type Input = GradientNormInput;

    fn update(
        &mut self,
        GradientNormInput(norm): &GradientNormInput,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(*norm, 1);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: false,
        }
        .into()
    }
}

impl Numeric for GradientNorm {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
