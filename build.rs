//! Compiles proto/ to Rust in `OUT_DIR` with protox, so that the build needs no protoc. The output is not committed: the
//! .proto files and the lock file determine it.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["signalbox/v1/signal.proto", "signalbox/v1/rooms.proto"];
    println!("cargo:rerun-if-changed=proto");

    let descriptors = protox::compile(files, ["proto"])?;
    // `compile_fds` ignores `file_descriptor_set_path`.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("signalbox_descriptor.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_server(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        // The server relays payloads: `Bytes` shares them instead of copying.
        .bytes(".signalbox.v1.Data.payload")
        .compile_fds(descriptors)?;
    Ok(())
}
