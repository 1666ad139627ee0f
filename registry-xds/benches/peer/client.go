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
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

	// window is how much may be on its way to a client. The client of gRPC would let it grow to 16 MiB, which under
	// churn are changes of half a minute that no server can take back.
	window = 256 << 10
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

// dial connects one client, by a connection of its own.
func dial(address string) (discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, error) {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, err
	}
	return discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(context.Background())
}

func node(n int) *core.Node {
	return &core.Node{Id: fmt.Sprintf("client-%d", n), Cluster: "bench", UserAgentName: "envoy"}
}

// routes is a client of one route configuration and nothing else. What it has been sent so far counts as the weight of a change.
func (f *fleet) routes(address string, n int, name string) error {
	stream, err := dial(address)
	if err != nil {
		return err
	}
	request := &discovery.DeltaDiscoveryRequest{Node: node(n), TypeUrl: routeType, ResourceNamesSubscribe: []string{name}}
	if err := stream.Send(request); err != nil {
		return err
	}
	for sent := uint32(0); ; sent++ {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("client %d: %w", n, err)
		}
		ack := &discovery.DeltaDiscoveryRequest{TypeUrl: routeType, ResponseNonce: response.Nonce}
		if err := stream.Send(ack); err != nil {
			return err
		}
		if sent > 0 {
			f.has(n, sent)
		} else if f.synced.Add(1) == int64(f.clients) {
			f.say("synced %d", time.Now().UnixNano())
		}
	}
}

// messages calls see with the content of each field of that number.
func messages(message []byte, number protowire.Number, see func([]byte)) {
	for len(message) > 0 {
		found, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		if found == number && kind == protowire.BytesType {
			content, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return
			}
			see(content)
		}
		n = protowire.ConsumeFieldValue(found, kind, message)
		if n < 0 {
			return
		}
		message = message[n:]
	}
}

// weights calls see with the weight of each endpoint of an encoded ClusterLoadAssignment. To decode all of each would be most
// of what the benchmark does.
func weights(load []byte, see func(uint32)) {
	messages(load, 2, func(locality []byte) {
		messages(locality, 2, func(one []byte) {
			messages(one, 4, func(weight []byte) {
				if _, _, n := protowire.ConsumeTag(weight); n > 0 {
					value, _ := protowire.ConsumeVarint(weight[n:])
					see(uint32(value))
				}
			})
		})
	})
}

func runClients(address string, clients, clusters int, routes string, every bool) error {
	f := &fleet{clients: clients, seen: map[uint32]int{}, out: bufio.NewWriter(os.Stdout), every: every}
	failed := make(chan error)
	for n := range clients {
		go func() {
			if routes != "" {
				failed <- f.routes(address, n, routes)
			} else {
				failed <- f.client(address, n, clusters)
			}
		}()
	}
	return <-failed
}

// client is one delta client: it wants every cluster, and the endpoints of each.
func (f *fleet) client(address string, n, clusters int) error {
	stream, err := dial(address)
	if err != nil {
		return err
	}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: node(n), TypeUrl: clusterType}); err != nil {
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
				weights(resource.Resource.Value, func(weight uint32) {
					if weight > 1 {
						f.has(n, weight)
					}
				})
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
