use pinhole::{Config, Endpoint, Key, Peer, Phrase, Role, forward};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = Key::stretch(&Phrase::generate([7; 32]));
    let [mut serve, mut open] = [(Role::Serve, "127.9.1.2"), (Role::Open, "127.9.1.1")]
        .map(|(role, peer)| Config::new(role, key.clone(), Peer::new(peer, 5555)));
    (serve.bind, open.bind) = ("127.9.1.1".parse()?, "127.9.1.2".parse()?);
    let (serve, open) = (Endpoint::start(serve).await?, Endpoint::start(open).await?);
    let echo = TcpListener::bind("127.9.1.1:7007").await?;
    let _offered = forward::offer(&serve, &["echo=127.9.1.1:7007".parse()?])?;
    let local = forward::listen(&open, &"127.9.1.2:7007:echo".parse()?)?;
    let mut client = TcpStream::connect(local.address()).await?;
    let (mut from, mut to) = echo.accept().await?.0.into_split();
    tokio::spawn(async move { copy(&mut from, &mut to).await });
    let (mut from, mut to) = client.split();
    let (sent, mut echoed) = (vec![7; 1 << 20], vec![0; 1 << 20]);
    tokio::try_join!(to.write_all(&sent), from.read_exact(&mut echoed))?;
    Ok(assert!(sent == echoed))
}
