//! Numbers of one floating-point type as another.

use burn::tensor::{DType, bf16, f16};
use rayon::prelude::*;

/// Numbers a thread takes at a time.
const CHUNK: usize = 1 << 16;

/// Puts `bytes` of `from` behind others as bytes of `to`, both little-endian, rounded to the nearest.
///
/// # Panics
///
/// If one of the types is not f64, f32, f16 or bf16.
pub(super) fn cast_onto(out: &mut Vec<u8>, bytes: &[u8], from: DType, to: DType) {
    let (width, wider, held) = (from.size(), to.size(), out.len());
    out.resize(held + bytes.len() / width * wider, 0);
    out[held..]
        .par_chunks_mut(CHUNK * wider)
        .zip(bytes.par_chunks(CHUNK * width))
        .for_each(|(out, bytes)| match from {
            DType::F64 => write(bytes, out, to, |b| f64::from_le_bytes(b) as f32),
            DType::F32 => write(bytes, out, to, f32::from_le_bytes),
            DType::F16 => write(bytes, out, to, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => write(bytes, out, to, |b| bf16::from_le_bytes(b).to_f32()),
            other => panic!("{other:?} is no floating-point type"),
        });
}

fn write<const N: usize>(bytes: &[u8], out: &mut [u8], to: DType, read: impl Fn([u8; N]) -> f32) {
    match to {
        DType::F64 => each(bytes, out, |b| f64::from(read(b)).to_le_bytes()),
        DType::F32 => each(bytes, out, |b| read(b).to_le_bytes()),
        DType::F16 => each(bytes, out, |b| f16::from_f32(read(b)).to_le_bytes()),
        DType::BF16 => each(bytes, out, |b| bf16::from_f32(read(b)).to_le_bytes()),
        other => panic!("{other:?} is no floating-point type"),
    }
}

fn each<const N: usize, const M: usize>(
    bytes: &[u8],
    out: &mut [u8],
    convert: impl Fn([u8; N]) -> [u8; M],
) {
    let (numbers, places) = (bytes.as_chunks::<N>().0, out.as_chunks_mut::<M>().0);
    for (number, place) in numbers.iter().zip(places) {
        *place = convert(*number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_nearest() {
        let numbers = [
            0.0_f32,
            -1.5,
            1.0 + 1.0 / 256.0,
            65504.0,
            f32::INFINITY,
            3.1e-8,
        ];
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        for (dtype, expected) in [
            (DType::F64, numbers.to_vec()),
            (
                DType::F16,
                numbers.map(|x| f16::from_f32(x).to_f32()).to_vec(),
            ),
            (
                DType::BF16,
                numbers.map(|x| bf16::from_f32(x).to_f32()).to_vec(),
            ),
        ] {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            cast_onto(&mut there, &bytes, DType::F32, dtype);
            cast_onto(&mut back, &there, dtype, DType::F32);
            let back = back.as_chunks::<4>().0.iter();
            let back: Vec<f32> = back.map(|bytes| f32::from_le_bytes(*bytes)).collect();
            assert_eq!(back, expected, "{dtype:?}");
        }
    }
}
