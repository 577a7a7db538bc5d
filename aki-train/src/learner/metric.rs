//! The share of answers that are exactly right, as a Burn metric.

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
