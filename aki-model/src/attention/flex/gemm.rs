//! Matrices in borrowed memory and their product, by the `gemm` crate.

use gemm::Parallelism;

/// A matrix in someone's memory: element `(r, c)` is `data[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` neighbouring elements, `row_stride` apart.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// The rows `start..end`.
    pub fn rows(self, rows: std::ops::Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        Self {
            data: &self.data[rows.start * self.row_stride..],
            rows: rows.len(),
            ..self
        }
    }

    /// The columns `start..end` of a matrix whose columns are neighbours.
    pub fn columns(self, columns: std::ops::Range<usize>) -> Self {
        assert!(columns.end <= self.columns && self.column_stride == 1);
        Self {
            data: &self.data[columns.start..],
            columns: columns.len(),
            ..self
        }
    }

    /// A row whose elements are neighbours.
    pub fn row(self, row: usize) -> &'a [f32] {
        assert!(row < self.rows && self.column_stride == 1);
        &self.data[row * self.row_stride..][..self.columns]
    }

    /// The transpose, in the same memory.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn check(&self) {
        let last = self.rows.saturating_sub(1) * self.row_stride
            + self.columns.saturating_sub(1) * self.column_stride;
        assert!(self.rows * self.columns == 0 || last < self.data.len());
    }
}

/// `out = factor * a b`, or `out += factor * a b`; `out` has `a.rows` rows, `row_stride` apart.
///
/// # Panics
///
/// If the shapes do not fit each other or the memory.
pub fn multiply(
    out: &mut [f32],
    row_stride: usize,
    add: bool,
    factor: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    let (rows, columns) = (a.rows, b.columns);
    assert_eq!(a.columns, b.rows);
    a.check();
    b.check();
    if rows * columns == 0 {
        return;
    }
    assert!(columns <= row_stride && (rows - 1) * row_stride + columns <= out.len());
    // SAFETY: strides are not negative and lie within slices, so they fit `isize`; the asserts above
    // bound every element that is read or written (none is read if there is nothing to sum); `out`
    // is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            row_stride as isize,
            add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
