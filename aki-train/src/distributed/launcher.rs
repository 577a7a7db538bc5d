//! Whether the program was started as several processes.

/// What launchers tell the processes that they start, when there are several: Open MPI's `mpirun`,
/// those of MPICH and its kin, and Slurm's `srun` (but not `sbatch`, which starts one).
const VARIABLES: [&str; 4] = [
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
];

/// The variable that says that there are several processes, and how many.
pub(super) fn started_as_several(
    variable: impl Fn(&str) -> Option<String>,
) -> Option<(&'static str, usize)> {
    VARIABLES.into_iter().find_map(|name| {
        let processes = variable(name)?.trim().parse().ok()?;
        (processes > 1).then_some((name, processes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_of_several_processes_are_known() {
        let told = |set: &[(&str, &str)]| {
            let set: Vec<_> = set
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect();
            started_as_several(|name| Some(set.iter().find(|(key, _)| key == name)?.1.clone()))
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("OMPI_COMM_WORLD_SIZE", "1")]), None);
        assert_eq!(told(&[("PMI_SIZE", "four")]), None);
        // Of the allocation, and so also there where one process runs in it.
        assert_eq!(told(&[("SLURM_NTASKS", "8")]), None);
        let several = ("SLURM_STEP_NUM_TASKS", 8);
        let set = [("PMI_SIZE", "1"), ("SLURM_STEP_NUM_TASKS", "8")];
        assert_eq!(told(&set), Some(several));
    }
}
