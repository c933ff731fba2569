#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| signoise_fuzz::laws(data));
