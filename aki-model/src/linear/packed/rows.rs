//! Packed matrices from the rows of a checkpoint, and back.

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Bits, PackedMatrix};

impl PackedMatrix {
    /// Packs rows as a checkpoint has them, `[to, from]` in f32.
    ///
    /// # Panics
    ///
    /// If the last row is not whole.
    pub(crate) fn of_rows(numbers: Vec<f32>, from: usize, bits: Bits) -> Self {
        let to = numbers.len() / from;
        let data = TensorData::new(numbers, [to, from]);
        let rows = Tensor::<2>::from_data(data, (&Device::default(), DType::F32));
        Self::new(rows.transpose(), bits)
    }

    /// A matrix of words, `[to, words of a row]`.
    ///
    /// # Panics
    ///
    /// If the last row is not whole.
    pub(crate) fn of_words(words: Vec<i32>, from: usize, bits: Bits) -> Self {
        let (line, count) = (bits.words(from), words.len());
        let data = TensorData::new(words, [count / line, line]);
        let words = Tensor::from_data(data, (&Device::default(), DType::I32));
        Self {
            words: Param::initialized(ParamId::new(), words),
            from,
            bits,
        }
    }

    /// Its words, row by row.
    pub(crate) fn words(&self) -> Vec<i32> {
        self.words.val().inner().into_data().iter().collect()
    }

    /// Its numbers in f32, row by row as a checkpoint has them.
    pub(crate) fn rows(&self) -> Vec<f32> {
        self.unpacked().transpose().into_data().iter().collect()
    }
}
