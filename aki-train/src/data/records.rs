//! Annotated data sets for Burn's own loaders and transforms.

use aki_data::Record;
use burn::data::dataset::{Dataset, DatasetError};

/// The records of an [`aki_data::Dataset`] as a data set of Burn's, for networks of one's own: its
/// transforms shuffle, cut and mix them. (Runs read them through
/// [`MixedRows`](super::MixedRows), whose order can be resumed.)
#[derive(Clone, Debug)]
pub struct Records(pub aki_data::Dataset);

impl Dataset<Record> for Records {
    fn get(&self, index: usize) -> Result<Record, DatasetError> {
        Ok(self.0.get(index))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use burn::data::dataset::transform::{PartialDataset, ShuffledDataset};

    use super::*;

    #[test]
    fn burns_transforms_take_them() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("own.jsonl");
        let line = |n| {
            format!(
                r#"{{"id": {n}, "messages": [{{"role": "user", "content": "a"}}, {{"role": "assistant", "content": "b"}}]}}"#
            )
        };
        let lines: Vec<_> = (0..5).map(line).collect();
        std::fs::write(&file, lines.join("\n")).expect("lines");
        let records = Records(aki_data::Dataset::jsonl(&file).expect("records"));
        let part = PartialDataset::new(ShuffledDataset::new(records, 7), 0, 4);
        let mut keys: Vec<_> = part
            .iter()
            .map(|record| record.expect("a record").key)
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4);
    }
}
