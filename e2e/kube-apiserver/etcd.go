package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"k8s.io/apiserver/pkg/storage/etcd3"
)

// store is an etcd of one member inside this process.
type store struct {
	etcd   *embed.Etcd
	client *clientv3.Client

	compacting sync.Mutex
	// How often a compaction has been recorded: what etcd3.Compact uses as its clock.
	compactions int64
}

func startStore(folder string) (*store, error) {
	// Nobody but us dials it, so the system may choose the ports.
	any := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "error"
	// What was written survives the death of this process, and no test outlives the machine.
	config.UnsafeNoFsync = true
	config.EnableGRPCGateway = false
	// A single member elects itself: the shortest wait that is allowed.
	config.TickMs = 10
	config.ElectionMs = 100
	// As kubeadm sets it: bookmarks go on although nothing of their kind changes.
	config.WatchProgressNotifyInterval = 5 * time.Second
	config.ListenClientUrls = []url.URL{any}
	config.AdvertiseClientUrls = []url.URL{any}
	config.ListenPeerUrls = []url.URL{any}
	config.AdvertisePeerUrls = []url.URL{any}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return &store{etcd: etcd, client: v3client.New(etcd.Server)}, nil
	case err := <-etcd.Err():
		return nil, err
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("no leader after a minute")
	}
}

func (s *store) address() string {
	return "http://" + s.etcd.Clients[0].Addr().String()
}

func (s *store) close() {
	_ = s.client.Close()
	s.etcd.Close()
}

// compact forgets all history up to now, as the API server itself does every five minutes in production: it
// records the revision under a key that watch caches follow.
func (s *store) compact(ctx context.Context) (int64, error) {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	revision := int64(0)
	for {
		// The first round learns the revision, or that the count is not ours after a restart.
		count, current, compacted, err := etcd3.Compact(ctx, s.client, s.compactions, revision)
		if err != nil {
			return 0, err
		}
		s.compactions = count
		if revision != 0 && compacted == revision {
			return compacted, nil
		}
		revision = current
	}
}

// ServeHTTP answers POST with a compaction.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	revision, err := s.compact(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"revision\":%d}\n", revision)
}
