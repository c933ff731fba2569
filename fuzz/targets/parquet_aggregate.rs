#![no_main]

libfuzzer_sys::fuzz_target!(
    init: signoise_fuzz::forgive_the_library(),
    |data: &[u8]| signoise_fuzz::parquet_aggregate(data)
);
