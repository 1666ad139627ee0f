// Command peer is the other side of the benchmark `xds`: with `client` a fleet of delta clients that measure any server,
// with `server` go-control-plane, which serves the same resources as ours.
//
// Both speak in lines. The server takes `change <cluster> <weight>` and answers `changing <nanoseconds>` before it does so. The
// client says `synced <nanoseconds>` once every client has everything, and then `seen <weight> <nanoseconds>` once every client
// has that change.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("expected client or server"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	clusters := flags.Int("clusters", 10000, "how many clusters there are")
	endpoints := flags.Int("endpoints", 10, "server: how many endpoints each has")
	cache := flags.String("cache", "linear", "server: linear or snapshot")
	address := flags.String("address", "", "client: where the server is")
	clients := flags.Int("clients", 100, "client: how many there are")
	routes := flags.String("routes", "", "client: the route configuration to want, instead of clusters and endpoints")
	every := flags.Bool("every", false, "client: say of each client when it has a change")
	_ = flags.Parse(os.Args[2:])
	var err error
	switch os.Args[1] {
	case "client":
		err = runClients(*address, *clients, *clusters, *routes, *every)
	case "server":
		err = runServer(*cache, *clusters, *endpoints)
	default:
		err = fmt.Errorf("%s: expected client or server", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
