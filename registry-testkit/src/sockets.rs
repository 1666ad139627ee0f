//! How many connections a server has, as the kernel counts them.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddrV4;

use crate::Error;

/// The kernel's number of the state `ESTABLISHED`.
const ESTABLISHED: &str = "01";

/// Counts the established TCP connections from `client` (any port) to `server`.
///
/// It reads the kernel's table, so it sees the connections of all processes, also those that wait in a pool, and
/// counts only what was open at one and the same moment. The testkit's own calls come from [`ADMIN_ADDRESS`](crate::consul::ADMIN_ADDRESS) and are thus not among
/// those from 127.0.0.1.
///
/// # Errors
///
/// [`Error::Io`] where there is no such table, which is everywhere but on Linux.
pub fn established(client: std::net::Ipv4Addr, server: SocketAddrV4) -> Result<usize, Error> {
    let look = || {
        let table = "/proc/net/tcp";
        let text = fs::read_to_string(table).map_err(Error::file("cannot read", table))?;
        Ok(connections(&text, client, server))
    };
    // The kernel writes the table piece by piece: a connection that ends under way and the one that takes its place
    // can both be in it. Those in two tables in a row were all open between the two.
    let (before, after) = (look()?, look()?);
    Ok(before.intersection(&after).count())
}

/// The client's address and port and the number of the socket, of each connection.
fn connections(table: &str, client: std::net::Ipv4Addr, server: SocketAddrV4) -> HashSet<(String, String)> {
    let client = format!("{}:", hex(client));
    let server = format!("{}:{:04X}", hex(*server.ip()), server.port());
    table
        .lines()
        .filter_map(|line| {
            // `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`, from the client's side.
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().filter(|local| local.starts_with(&client))?;
            fields.next().filter(|remote| *remote == server)?;
            fields.next().filter(|state| *state == ESTABLISHED)?;
            Some((local.to_owned(), fields.nth(5)?.to_owned()))
        })
        .collect()
}

/// The address as the kernel prints it: the number in network order, read in the machine's.
fn hex(address: std::net::Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn open_connections_are_counted_from_their_client() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let SocketAddr::V4(server) = listener.local_addr().expect("it is bound") else {
            panic!("it is IPv4")
        };
        let streams: Vec<_> = (0..3)
            .map(|_| TcpStream::connect(server).expect("it listens"))
            .collect();
        assert_eq!(
            established(Ipv4Addr::LOCALHOST, server).expect("Linux"),
            streams.len()
        );
        assert_eq!(
            established(Ipv4Addr::new(127, 0, 0, 2), server).expect("Linux"),
            0
        );
        drop(streams);
        assert_eq!(established(Ipv4Addr::LOCALHOST, server).expect("Linux"), 0);
    }
}
