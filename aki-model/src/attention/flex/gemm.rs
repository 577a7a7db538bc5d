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

    /// `rows` by `columns` elements with any distances between rows and between columns.
    pub fn strided(data: &'a [f32], [rows, columns]: [usize; 2], strides: [usize; 2]) -> Self {
        Self {
            data,
            rows,
            columns,
            row_stride: strides[0],
            column_stride: strides[1],
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

    /// The columns `start..end`.
    pub fn columns(self, columns: std::ops::Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        Self {
            data: &self.data[columns.start * self.column_stride..],
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
    let (rows, columns) = fit(a, b);
    if rows * columns == 0 {
        return;
    }
    assert!(columns <= row_stride && (rows - 1) * row_stride + columns <= out.len());
    // SAFETY: the matrices fit, and the assert above bounds what is written.
    unsafe {
        write(
            out.as_mut_ptr(),
            row_stride,
            add,
            factor,
            [a, b],
            Parallelism::None,
        );
    }
}

/// `a b`, or `start + a b` with the same `start` in each row; row after row. On all threads, and with
/// the same bits whatever their number.
///
/// # Panics
///
/// If the shapes do not fit each other or the memory.
pub fn product(a: Matrix<'_>, b: Matrix<'_>, start: Option<&[f32]>) -> Vec<f32> {
    let (rows, columns) = fit(a, b);
    let len = rows * columns;
    let mut out = Vec::with_capacity(len);
    if let Some(start) = start {
        assert_eq!(start.len(), columns);
        for _ in 0..rows {
            out.extend_from_slice(start);
        }
    }
    // SAFETY: the matrices fit, and there is room for `len` elements. All of them are written, and
    // none is read that was not set above.
    unsafe {
        write(
            out.as_mut_ptr(),
            columns,
            start.is_some(),
            1.0,
            [a, b],
            Parallelism::Rayon(0),
        );
        out.set_len(len);
    }
    out
}

/// Rows and columns of `a b`.
fn fit(a: Matrix<'_>, b: Matrix<'_>) -> (usize, usize) {
    assert_eq!(a.columns, b.rows);
    a.check();
    b.check();
    (a.rows, b.columns)
}

/// # Safety
///
/// `a` and `b` must [`fit`], and `out` must be valid for writing a row of `b.columns` elements for each
/// row of `a`, `row_stride` apart; for reading them too if `add`.
unsafe fn write(
    out: *mut f32,
    row_stride: usize,
    add: bool,
    factor: f32,
    [a, b]: [Matrix<'_>; 2],
    threads: Parallelism,
) {
    // SAFETY: strides are not negative and lie within slices, so they fit `isize`; all elements of `a`
    // and `b` that are read lie in their slices, which `out`, being valid for writing, does not overlap.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out,
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
            threads,
        );
    }
}
