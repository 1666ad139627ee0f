package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
)

// fleet counts what all clients have.
type fleet struct {
	clients int
	synced  atomic.Int64
	mutex   sync.Mutex
	seen    map[uint32]int
	out     *bufio.Writer
	every   bool
}

func (f *fleet) say(format string, values ...any) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	fmt.Fprintf(f.out, format+"\n", values...)
	f.out.Flush()
}

// has notes that one more client has a change.
func (f *fleet) has(client int, weight uint32) {
	now := time.Now().UnixNano()
	if f.every {
		f.say("has %d %d %d", client, weight, now)
	}
	f.mutex.Lock()
	f.seen[weight]++
	all := f.seen[weight] == f.clients
	if all {
		delete(f.seen, weight)
	}
	f.mutex.Unlock()
	if all {
		f.say("seen %d %d", weight, now)
	}
}

func runClients(address string, clients, clusters int, every bool) error {
	f := &fleet{clients: clients, seen: map[uint32]int{}, out: bufio.NewWriter(os.Stdout), every: every}
	failed := make(chan error)
	for n := range clients {
		go func() { failed <- f.client(address, n, clusters) }()
	}
	return <-failed
}

// client is one delta client: it wants every cluster, and the endpoints of each.
func (f *fleet) client(address string, n, clusters int) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(context.Background())
	if err != nil {
		return err
	}
	node := &core.Node{Id: fmt.Sprintf("client-%d", n), Cluster: "bench", UserAgentName: "envoy"}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: clusterType}); err != nil {
		return err
	}
	asked := map[string]bool{}
	var have map[string]bool = map[string]bool{}
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("client %d: %w", n, err)
		}
		ack := &discovery.DeltaDiscoveryRequest{TypeUrl: response.TypeUrl, ResponseNonce: response.Nonce}
		if err := stream.Send(ack); err != nil {
			return err
		}
		switch response.TypeUrl {
		case clusterType:
			var names []string
			for _, resource := range response.Resources {
				// The shared outbound listener of some servers needs clusters that have no endpoints to ask for.
				var message cluster.Cluster
				if err := proto.Unmarshal(resource.Resource.Value, &message); err != nil {
					return err
				}
				if message.GetType() == cluster.Cluster_EDS && !asked[resource.Name] {
					asked[resource.Name] = true
					names = append(names, resource.Name)
				}
			}
			if len(names) > 0 {
				request := &discovery.DeltaDiscoveryRequest{TypeUrl: endpointType, ResourceNamesSubscribe: names}
				if err := stream.Send(request); err != nil {
					return err
				}
			}
		case endpointType:
			for _, resource := range response.Resources {
				if have != nil {
					have[resource.Name] = true
					continue
				}
				var message endpoint.ClusterLoadAssignment
				if err := proto.Unmarshal(resource.Resource.Value, &message); err != nil {
					return err
				}
				for _, locality := range message.Endpoints {
					for _, one := range locality.LbEndpoints {
						if weight := one.GetLoadBalancingWeight().GetValue(); weight > 1 {
							f.has(n, weight)
						}
					}
				}
			}
			if have != nil && len(have) >= clusters {
				have = nil
				if f.synced.Add(1) == int64(f.clients) {
					f.say("synced %d", time.Now().UnixNano())
				}
			}
		}
	}
}
