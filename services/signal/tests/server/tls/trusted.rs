//! Clients with a certificate are trusted with more streams. A certificate is optional.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    client::{Authority, Client},
    serve,
};
use crate::common::{DEADLINE, within};

/// The limit of concurrent streams in the first SETTINGS of the server.
async fn max_streams(client: &Client, addr: std::net::SocketAddr) -> u32 {
    let mut stream = client.connect(addr).await.expect("a handshake");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    let mut head = [0; 9];
    within(DEADLINE, stream.read_exact(&mut head)).await.expect("a frame");
    assert_eq!(head[3], 4, "SETTINGS is the first frame");
    let mut settings = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    within(DEADLINE, stream.read_exact(&mut settings)).await.expect("a whole frame");
    let setting = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("the setting is always sent");
    u32::from_be_bytes(setting[2..].try_into().unwrap())
}

#[tokio::test]
async fn clients_with_a_certificate_have_more_streams() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let served = serve(&["--tls-client-ca", ca.to_str().unwrap(), "--max-streams", "16"]).await;
    let (addr, client) = (served.server.addr, served.client.clone());
    assert_eq!(max_streams(&client, addr).await, 16);
    assert_eq!(max_streams(&client.clone().with_identity(ours.issue("proxy")), addr).await, 256);

    // A certificate that is not trusted is refused.
    let impostor = client.clone().with_identity(foreign.issue("proxy"));
    let refused = async {
        // In TLS 1.3 a client learns it from its first read.
        let mut stream = impostor.connect(addr).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.read_u8().await
    };
    let error = within(DEADLINE, refused).await.expect_err("it must be refused");
    assert!(error.to_string().contains("alert"), "{error}");
    assert_eq!(max_streams(&client, addr).await, 16, "others are served");
}
