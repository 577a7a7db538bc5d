//! Encoded pictures: their headers and their pixels.
#![no_main]

use aki_data::Picture;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let size = Picture::size(bytes, "fuzz");
    for picture in [
        Picture::decode(bytes, "fuzz"),
        Picture::decode_upright(bytes, "fuzz"),
    ]
    .into_iter()
    .flatten()
    {
        assert!(size.is_ok());
        let values = picture.width as usize * picture.height as usize * 3;
        assert!(values > 0);
        assert_eq!(picture.rgb.len(), values);
    }
});
