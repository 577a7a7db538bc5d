//! The assignment problem: pictures to sentences.

/// Gives each row a column of its own so that the sum of `values` is largest; with
/// fewer columns than rows, each column a row.
///
/// Pairs come in the order of the rows. Exact, by shortest augmenting paths with
/// potentials (Jonker and Volgenant 1987, as in Crouse 2016): time `n * n * m` for the
/// smaller side `n` and the larger `m`.
///
/// # Panics
/// If the rows are not equally long, or a value is not finite.
pub(super) fn assign(values: &[Vec<f64>]) -> Vec<(usize, usize)> {
    let (rows, columns) = (values.len(), values.first().map_or(0, Vec::len));
    assert!(values.iter().all(|row| row.len() == columns));
    assert!(values.iter().flatten().all(|value| value.is_finite()));
    if rows <= columns {
        return shortest_paths(rows, columns, |row, column| -values[row][column]);
    }
    let turned = shortest_paths(columns, rows, |column, row| -values[row][column]);
    let mut pairs: Vec<_> = turned
        .into_iter()
        .map(|(column, row)| (row, column))
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Each of `n` rows gets one of `m >= n` columns at the least sum of `cost`.
fn shortest_paths(n: usize, m: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    let mut row_price = vec![0.0; n];
    let mut column_price = vec![0.0; m];
    let mut row_of: Vec<Option<usize>> = vec![None; m];
    for start in 0..n {
        // Dijkstra from the new row to the nearest free column, over what each pair
        // costs above its prices.
        let mut distance = vec![f64::INFINITY; m];
        let mut from: Vec<Option<usize>> = vec![None; m];
        let mut done = vec![false; m];
        let (mut row, mut column, mut reached) = (start, None, 0.0);
        let end = loop {
            let mut nearest = None;
            for next in 0..m {
                if done[next] {
                    continue;
                }
                let length = reached + cost(row, next) - row_price[row] - column_price[next];
                if length < distance[next] {
                    distance[next] = length;
                    from[next] = column;
                }
                let least = nearest.map_or(f64::INFINITY, |it: usize| distance[it]);
                // Of equally near columns a free one, then the first.
                if distance[next] < least
                    || (distance[next] <= least
                        && row_of[next].is_none()
                        && nearest.is_some_and(|it| row_of[it].is_some()))
                {
                    nearest = Some(next);
                }
            }
            let Some(next) = nearest else {
                unreachable!("there are at least as many columns as rows");
            };
            done[next] = true;
            reached = distance[next];
            match row_of[next] {
                None => break next,
                Some(taken) => (row, column) = (taken, Some(next)),
            }
        };
        row_price[start] += reached;
        for other in (0..m).filter(|&other| done[other]) {
            if let Some(row) = row_of[other] {
                row_price[row] += reached - distance[other];
            }
            column_price[other] -= reached - distance[other];
        }
        // Along the path every row moves on to the next column.
        let mut column = end;
        while let Some(before) = from[column] {
            row_of[column] = row_of[before];
            column = before;
        }
        row_of[column] = Some(start);
    }
    let mut pairs: Vec<_> = row_of
        .iter()
        .enumerate()
        .filter_map(|(column, row)| row.map(|row| (row, column)))
        .collect();
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The largest sum by trying all.
    fn best(values: &[Vec<f64>], row: usize, free: &mut [bool], spare_rows: usize) -> f64 {
        if row == values.len() {
            return 0.0;
        }
        let mut most = f64::NEG_INFINITY;
        if spare_rows > 0 {
            most = best(values, row + 1, free, spare_rows - 1);
        }
        for column in 0..free.len() {
            if free[column] {
                free[column] = false;
                most = most.max(values[row][column] + best(values, row + 1, free, spare_rows));
                free[column] = true;
            }
        }
        most
    }

    fn matrices() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (1_usize..6, 1_usize..7, any::<bool>()).prop_flat_map(|(rows, columns, coarse)| {
            // Coarse values have many ties.
            let value = (-100_i32..100).prop_map(move |value| match coarse {
                true => f64::from(value / 50),
                false => f64::from(value) / 7.0,
            });
            prop::collection::vec(prop::collection::vec(value, columns), rows)
        })
    }

    #[test]
    fn nothing_has_no_pairs() {
        assert_eq!(assign(&[]), []);
        assert_eq!(assign(&[vec![], vec![]]), []);
    }

    proptest! {
        #[test]
        fn no_other_assignment_is_better(values in matrices()) {
            let (rows, columns) = (values.len(), values[0].len());
            let pairs = assign(&values);
            prop_assert_eq!(pairs.len(), rows.min(columns));
            prop_assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let mut taken: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), pairs.len());
            let sum: f64 = pairs.iter().map(|&(row, column)| values[row][column]).sum();
            let best = best(&values, 0, &mut vec![true; columns], rows.saturating_sub(columns));
            prop_assert!((sum - best).abs() < 1e-9, "{} is not {}", sum, best);
        }
    }
}
