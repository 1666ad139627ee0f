// A small Kubernetes API server for tests: list, watch, pages, expiry, bookmarks, streaming lists, custom
// resources and access control are those of Kubernetes' published server libraries; etcd runs in the process.
//
//	main.go        flags, and the order in which all comes up
//	etcd.go        the embedded store and its compaction
//	server.go      the configuration of the generic API server
//	access.go      who may come in (token file) and what they may do (access file)
//	kinds.go       the built-in kinds: a table
//	strategy.go    what the server does to any object before it is stored
//	defaults.go    what it fills in, kind by kind
//	install.go     paths and discovery of the built-in kinds
//	crds.go        groups of custom resources in the list of all groups
//	namespaces.go  namespaces exist before what is in them, and take it along
//	plain.go       a second listener that speaks HTTP/1.1 without TLS
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"k8s.io/apiserver/pkg/server"
	"k8s.io/klog/v2"
)

// options are the command line.
type options struct {
	dataDir       string
	certDir       string
	tokenFile     string
	accessFile    string
	securePort    int
	plainPort     int
	storagePrefix string
	featureGates  string
	uncached      string
}

func main() {
	var o options
	flag.StringVar(&o.dataDir, "data-dir", "", "where etcd keeps its files")
	flag.StringVar(&o.certDir, "cert-dir", "", "where apiserver.crt and apiserver.key are, or are made")
	flag.StringVar(&o.tokenFile, "token-file", "", "lines of token,user,uid,\"group,…\"; read again for each request")
	flag.StringVar(&o.accessFile, "access-file", "", "lines of user,namespace|*,resource|*; read again for each request")
	flag.IntVar(&o.securePort, "secure-port", 6443, "the HTTPS port of 127.0.0.1")
	flag.IntVar(&o.plainPort, "plain-port", 0, "the HTTP port of 127.0.0.1; 0 for none")
	flag.StringVar(&o.storagePrefix, "storage-prefix", "/registry", "the prefix of all keys in etcd")
	flag.StringVar(&o.featureGates, "feature-gates", "", "such as WatchList=false,ListFromCacheSnapshot=false")
	flag.StringVar(&o.uncached, "watch-cache-sizes", "", "kinds without a watch cache, such as services#0,endpointslices.discovery.k8s.io#0")
	flag.Parse()

	if err := run(server.SetupSignalContext(), o); err != nil {
		fmt.Fprintln(os.Stderr, "kube-apiserver:", err)
		klog.Flush()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	for name, value := range map[string]string{
		"data-dir": o.dataDir, "cert-dir": o.certDir, "token-file": o.tokenFile, "access-file": o.accessFile,
	} {
		if value == "" {
			return fmt.Errorf("--%s is needed", name)
		}
	}
	store, err := startStore(o.dataDir)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	// After the server: it still writes while it ends.
	defer store.close()

	api, err := build(o, store)
	if err != nil {
		return err
	}
	prepared := api.PrepareRun()
	if o.plainPort != 0 {
		if err := servePlain(ctx, o.plainPort, api.Handler); err != nil {
			return err
		}
	}
	return prepared.RunWithContext(ctx)
}

// list splits what a flag separates by commas.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}
