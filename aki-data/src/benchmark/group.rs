//! Which questions are scored, and drawn, together.

use std::collections::HashMap;

use super::question::Question;
use crate::fingerprint::fnv1a;

/// Numbers groups and clusters in the order in which they come.
#[derive(Default)]
pub(super) struct Groups {
    /// Number of each group.
    numbers: HashMap<String, usize>,
    /// Of each group: how many are in it, and its cluster.
    all: Vec<(usize, usize)>,
    /// Number of each picture's cluster.
    clusters: HashMap<u64, usize>,
    /// By what the picture of each question is known.
    pictures: Vec<u64>,
}

impl Groups {
    /// Puts a question into the group of this key. The cluster is that of the picture of the
    /// group's first question. Returns how many are in it now.
    pub(super) fn add(&mut self, question: &mut Question, key: String, picture: u64) -> usize {
        self.pictures.push(picture);
        let number = *self.numbers.entry(key).or_insert_with(|| {
            let next = self.clusters.len();
            let cluster = *self.clusters.entry(picture).or_insert(next);
            self.all.push((0, cluster));
            self.all.len() - 1
        });
        let (len, cluster) = &mut self.all[number];
        *len += 1;
        question.group = number;
        question.cluster = *cluster;
        *len
    }

    /// Tells every question how many are in its group. Returns by what all pictures are known.
    pub(super) fn finish(self, questions: &mut [Question]) -> u64 {
        for question in questions {
            question.group_len = self.all[question.group].0;
        }
        fnv1a(self.pictures.into_iter().flat_map(u64::to_le_bytes))
    }
}
