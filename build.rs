//! Compiles proto/ to Rust in `OUT_DIR`, with protox, so that nobody needs to install protoc. The output is never
//! committed: it follows from the .proto files and the lock file.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["signalbox/v1/signal.proto", "signalbox/v1/rooms.proto"];
    println!("cargo:rerun-if-changed=proto");

    let descriptors = protox::compile(files, ["proto"])?;
    // Written by hand: `compile_fds` ignores `file_descriptor_set_path`.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("signalbox_descriptor.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_server(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        // Payloads are relayed: a reference count, not a copy.
        .bytes(".signalbox.v1.Data.payload")
        .compile_fds(descriptors)?;
    Ok(())
}
