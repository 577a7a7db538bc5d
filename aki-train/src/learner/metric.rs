//! Metrics of Burn: the share of answers that are exactly right, and the norm of the gradients.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

/// What a metric is told, a number of some items.
pub(crate) trait Measured: Clone + Send + Sync + 'static {
    /// The metric's name in logs.
    const NAME: &str;
    const UNIT: Option<&str>;
    const PRECISION: usize;
    const HIGHER_IS_BETTER: bool;

    /// The mean over the items, and how many they are.
    fn value(&self) -> (f64, usize);
}

/// For each row, whether its answer is exactly right.
#[derive(Clone)]
pub(crate) struct ExactMatchInput(pub(super) Vec<bool>);

/// Percentage of rows whose answer is exactly right.
pub(crate) type ExactMatch = Mean<ExactMatchInput>;

impl Measured for ExactMatchInput {
    const NAME: &str = "Accuracy";
    const UNIT: Option<&str> = Some("%");
    const PRECISION: usize = 2;
    const HIGHER_IS_BETTER: bool = true;

    fn value(&self) -> (f64, usize) {
        let right = self.0.iter().filter(|&&right| right).count();
        let share = right as f64 / self.0.len().max(1) as f64;
        (100.0 * share, self.0.len())
    }
}

/// Global norm of a step's gradients, before they are clipped.
#[derive(Clone)]
pub(crate) struct GradientNormInput(pub(super) f64);

/// Global norm of the gradients.
pub(crate) type GradientNorm = Mean<GradientNormInput>;

impl Measured for GradientNormInput {
    const NAME: &str = "Gradient Norm";
    const UNIT: Option<&str> = None;
    const PRECISION: usize = 3;
    const HIGHER_IS_BETTER: bool = false;

    fn value(&self) -> (f64, usize) {
        (self.0, 1)
    }
}

/// The mean of what is measured.
#[derive(Clone)]
pub(crate) struct Mean<I> {
    name: MetricName,
    state: NumericMetricState,
    input: PhantomData<I>,
}

impl<I: Measured> Mean<I> {
    /// The metric's name in logs.
    pub(crate) const NAME: &str = I::NAME;

    pub(crate) fn new() -> Self {
        Self {
            name: Arc::new(I::NAME.to_owned()),
            state: NumericMetricState::default(),
            input: PhantomData,
        }
    }

    fn format(&self) -> FormatOptions {
        let format = FormatOptions::new(self.name()).precision(I::PRECISION);
        match I::UNIT {
            Some(unit) => format.unit(unit),
            None => format,
        }
    }
}

impl<I: Measured> Metric for Mean<I> {
    type Input = I;

    fn update(
        &mut self,
        input: &I,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let (value, items) = input.value();
        self.state.update(value, items);
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
            unit: I::UNIT.map(str::to_owned),
            higher_is_better: I::HIGHER_IS_BETTER,
        }
        .into()
    }
}

impl<I: Measured> Numeric for Mean<I> {
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
