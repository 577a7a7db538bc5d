//! Rotary position embedding in the rotate-half form of Llama and Phi, with the ways in which
//! published models stretch it.

use std::f32::consts::PI;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// How far each pair of channels turns a token.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryConfig {
    /// Channels of a head; even.
    pub head_dim: usize,
    /// The base of the geometric series of wavelengths; 10,000 in Phi and Llama 2.
    pub theta: f64,
    /// How the wavelengths are stretched for long texts.
    pub scaling: Option<RopeScaling>,
}

/// Ways to stretch the wavelengths of a rotary embedding, with the names of `config.json`.
///
/// Formulas: `ROPE_INIT_FUNCTIONS` of `transformers` 4.57.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase", deny_unknown_fields)]
pub enum RopeScaling {
    /// All wavelengths times `factor`.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1's: long wavelengths times `factor`, short ones kept, those between blended.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wavelengths of more than `original_max_position_embeddings / low_freq_factor` count as long.
        low_freq_factor: f64,
        /// Wavelengths of less than `original_max_position_embeddings / high_freq_factor` count as
        /// short.
        high_freq_factor: f64,
        /// Tokens of the longest text before stretching.
        original_max_position_embeddings: usize,
    },
    /// Phi-3's `LongRoPE`: a factor for each pair of channels, one set for texts of up to
    /// `original_max_position_embeddings` tokens and one for longer ones.
    LongRope {
        /// Factors of short texts, one a pair of channels.
        short_factor: Vec<f64>,
        /// Factors of long texts, one a pair of channels.
        long_factor: Vec<f64>,
        /// Tokens of the longest text that counts as short.
        original_max_position_embeddings: usize,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
    },
}

impl RopeScaling {
    /// `LongRoPE`'s attention factor for texts of up to `longest` tokens:
    /// `sqrt(1 + ln(longest / original) / ln(original))`, or 1 where nothing is stretched.
    pub fn attention_factor(longest: f64, original: f64) -> f64 {
        let stretch = longest / original;
        if stretch <= 1.0 {
            return 1.0;
        }
        (1.0 + stretch.ln() / original.ln()).sqrt()
    }

    /// What is wrong with the numbers for heads of `head_dim` channels, if anything.
    ///
    /// # Errors
    ///
    /// A sentence that names the keys at fault.
    pub fn validate(&self, head_dim: usize) -> Result<(), String> {
        let numbers: Vec<f64> = match self {
            Self::Linear { factor } => vec![*factor],
            Self::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            } => {
                if high <= low {
                    return Err(format!(
                        "high_freq_factor {high} must be more than low_freq_factor {low}"
                    ));
                }
                vec![*factor, *low, *high, *original as f64]
            }
            Self::LongRope {
                short_factor,
                long_factor,
                original_max_position_embeddings: original,
                attention_factor,
            } => {
                let pairs = head_dim / 2;
                for (name, factors) in
                    [("short_factor", short_factor), ("long_factor", long_factor)]
                {
                    if factors.len() != pairs {
                        return Err(format!(
                            "{name} has {} numbers and a head of {head_dim} channels needs {pairs}",
                            factors.len()
                        ));
                    }
                }
                let mut all = vec![*attention_factor, *original as f64];
                all.extend(short_factor.iter().chain(long_factor));
                all
            }
        };
        match numbers
            .iter()
            .find(|number| !(**number > 0.0 && number.is_finite()))
        {
            Some(number) => Err(format!("rope_scaling: {number} must be more than 0")),
            None => Ok(()),
        }
    }
}

/// Cosines and sines for the query positions of one batch, shared by all layers of a decoder.
#[derive(Clone, Debug)]
pub(super) struct RotaryTable {
    /// `[batch, 1, len, head_dim]`, or `[1, 1, len, head_dim]` for all rows.
    pub(super) cos_b1td: Tensor<4>,
    pub(super) sin_b1td: Tensor<4>,
}

impl RotaryConfig {
    /// Turns in radians a token, one a pair of channels, for texts of `len` tokens. In f32 and in the
    /// order of `transformers`: far along a text the last bits of a frequency show.
    fn frequencies(&self, len: usize) -> Vec<f32> {
        let plain = (0..self.head_dim / 2).map(|pair| {
            let share = (2 * pair) as f32 / self.head_dim as f32;
            (self.theta as f32).powf(share)
        });
        match &self.scaling {
            None => plain.map(|wave| 1.0 / wave).collect(),
            Some(RopeScaling::Linear { factor }) => {
                plain.map(|wave| 1.0 / wave / *factor as f32).collect()
            }
            Some(RopeScaling::LongRope {
                short_factor,
                long_factor,
                original_max_position_embeddings,
                ..
            }) => {
                let long = len > *original_max_position_embeddings;
                let factors = if long { long_factor } else { short_factor };
                plain
                    .zip(factors)
                    .map(|(wave, &factor)| 1.0 / (factor as f32 * wave))
                    .collect()
            }
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            }) => {
                let original = *original_max_position_embeddings as f32;
                let (factor, low, high) = (
                    *factor as f32,
                    *low_freq_factor as f32,
                    *high_freq_factor as f32,
                );
                let stretched = |frequency: f32| {
                    let wavelength = 2.0 * PI / frequency;
                    if wavelength > original / low {
                        frequency / factor
                    } else if wavelength < original / high {
                        frequency
                    } else {
                        let blend = (original / wavelength - low) / (high - low);
                        (1.0 - blend) * frequency / factor + blend * frequency
                    }
                };
                plain.map(|wave| stretched(1.0 / wave)).collect()
            }
        }
    }

    /// The table for `positions`, one row after the other; `lens` are the lengths of the rows' texts,
    /// which may be longer than what is turned here.
    ///
    /// Where all rows have the same positions (no packing), one row is made and broadcast.
    ///
    /// # Panics
    ///
    /// If there are not as many positions for every row.
    pub(super) fn table(&self, positions: &[u32], lens: &[u32], device: &Device) -> RotaryTable {
        let batch = lens.len();
        assert!(
            positions.len().is_multiple_of(batch.max(1)),
            "positions do not fill the rows"
        );
        let len = positions.len() / batch.max(1);
        let rows_of = |row: usize| &positions[row * len..(row + 1) * len];
        let alike = (1..batch).all(|row| lens[row] == lens[0] && rows_of(row) == rows_of(0));
        let rows = if alike { batch.min(1) } else { batch };

        let factor = match self.scaling {
            Some(RopeScaling::LongRope {
                attention_factor, ..
            }) => attention_factor as f32,
            _ => 1.0,
        };
        let (mut cos, mut sin) = (Vec::<f32>::new(), Vec::<f32>::new());
        for (row, &text_len) in lens.iter().enumerate().take(rows) {
            let frequencies = self.frequencies(text_len as usize);
            for &position in rows_of(row) {
                let angles = frequencies
                    .iter()
                    .map(|frequency| f64::from(position as f32 * frequency));
                let (c, s): (Vec<f32>, Vec<f32>) = angles
                    .map(|angle| (angle.cos() as f32 * factor, angle.sin() as f32 * factor))
                    .unzip();
                // Both halves of a head turn by the same angles.
                cos.extend(c.iter().chain(&c));
                sin.extend(s.iter().chain(&s));
            }
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
