//! The two ways to ask.

/// Whose prompt a question is put into. See [`Benchmark::differs`](super::Benchmark::differs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromptStyle {
    /// As in training: every picture as a line `<image>` before the text.
    Aki,
    /// As `VLMEvalKit`'s wrapper of AKI: the first picture only, and no newline behind `<image>`.
    VlmEvalKit,
}

impl PromptStyle {
    /// What is typed for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aki => "aki",
            Self::VlmEvalKit => "vlmevalkit",
        }
    }

    /// Whether a newline stands behind `<image>`.
    pub fn newline(self) -> bool {
        self == Self::Aki
    }
}
