//! One seed gives one model. Alone in its file, since a process shares one generator a device.

mod common;

use burn::store::ModuleSnapshot;
use burn::tensor::Device;

#[test]
fn one_seed_gives_one_model() {
    let device = Device::flex();
    let draw = |seed| -> Vec<Vec<u8>> {
        device.seed(seed);
        let tensors = common::tiny().init(20, &device).collect(None, None, false);
        tensors
            .iter()
            .map(|tensor| tensor.to_bytes().unwrap().to_vec())
            .collect()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}
