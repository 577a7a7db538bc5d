//! Rotary position embedding in the rotate-half form of Llama and Phi.

use burn::tensor::{Device, Tensor, TensorData};

/// How far each pair of channels turns a token.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryConfig {
    /// Channels of a head; even.
    pub head_dim: usize,
    /// The base of the geometric series of wavelengths; 10,000 in Phi and Llama 2.
    pub theta: f64,
}

/// Cosines and sines for the query positions of one batch, shared by all layers of a decoder.
#[derive(Clone, Debug)]
pub(super) struct RotaryTable {
    cos_b1td: Tensor<4>,
    sin_b1td: Tensor<4>,
}

impl RotaryConfig {
    /// The table for `positions`, `batch` rows of equal length one after the other.
    ///
    /// Where all rows have the same positions (no packing), one row is made and broadcast.
    ///
    /// # Panics
    ///
    /// If `batch` does not divide the number of positions.
    pub(super) fn table(&self, positions: &[u32], batch: usize, device: &Device) -> RotaryTable {
        assert!(
            positions.len().is_multiple_of(batch.max(1)),
            "positions do not fill the rows"
        );
        let len = positions.len() / batch.max(1);
        let alike = positions
            .chunks(len.max(1))
            .all(|row| row == &positions[..len]);
        let rows = if alike { batch.min(1) } else { batch };

        let half = self.head_dim / 2;
        let frequencies: Vec<f64> = (0..half)
            .map(|pair| self.theta.powf(-2.0 * pair as f64 / self.head_dim as f64))
            .collect();
        let (mut cos, mut sin) = (Vec::<f32>::new(), Vec::<f32>::new());
        for &position in &positions[..rows * len] {
            let angles = frequencies
                .iter()
                .map(|frequency| f64::from(position) * frequency);
            let (c, s): (Vec<f32>, Vec<f32>) = angles
                .map(|angle| (angle.cos() as f32, angle.sin() as f32))
                .unzip();
            // Both halves of a head turn by the same angles.
            cos.extend(c.iter().chain(&c));
            sin.extend(s.iter().chain(&s));
        }
        let tensor = |values| {
            Tensor::from_data(
                TensorData::new(values, [rows, 1, len, self.head_dim]),
                device,
            )
        };
        RotaryTable {
            cos_b1td: tensor(cos),
            sin_b1td: tensor(sin),
        }
    }
}

impl RotaryTable {
    /// Turns each token by its position.
    ///
    /// # Shapes
    ///
    /// - input and output: `[batch, heads, len, head_dim]`
    pub(super) fn apply(&self, x_bhtd: Tensor<4>) -> Tensor<4> {
        let [batch, heads, len, head_dim] = x_bhtd.dims();
        let dtype = x_bhtd.dtype();
        let half = head_dim / 2;
        let first = x_bhtd.clone().slice([0..batch, 0..heads, 0..len, 0..half]);
        let second = x_bhtd
            .clone()
            .slice([0..batch, 0..heads, 0..len, half..head_dim]);
        let rotated = Tensor::cat(vec![second.neg(), first], 3);
        x_bhtd * self.cos_b1td.clone().cast(dtype) + rotated * self.sin_b1td.clone().cast(dtype)
    }
}
