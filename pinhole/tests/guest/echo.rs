use pinhole::{Endpoint, Key, PeerConfig, Phrase, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = Key::stretch(&Phrase::generate([7; 32]));
    let serve = Endpoint::builder(key.clone()).bind_ip("127.9.1.1".parse()?).build().await?;
    let open = Endpoint::builder(key).bind_ip("127.9.1.2".parse()?).build().await?;
    let serve = serve.peer(PeerConfig::new(Role::Serve, "127.9.1.2")).await?;
    let open = open.peer(PeerConfig::new(Role::Open, "127.9.1.1")).await?;
    let (opened, asked) = tokio::join!(open.open_stream("echo"), async { serve.accept_stream().await?.accept().await });
    let ((mut to, mut from), (mut back, mut heard)) = (opened?, asked?);
    tokio::spawn(async move { copy(&mut heard, &mut back).await });
    let (sent, mut echoed) = (vec![7; 1 << 20], vec![0; 1 << 20]);
    tokio::try_join!(to.write_all(&sent), from.read_exact(&mut echoed))?;
    Ok(assert!(sent == echoed))
}
