package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// changer replaces the endpoints of one cluster.
type changer func(n int, weight uint32) error

func runServer(kind string, clusters, endpoints int) error {
	serve, change, err := newCache(kind, clusters, endpoints)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	service := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxConcurrentStreams(1000000))
	discovery.RegisterAggregatedDiscoveryServiceServer(service, server.NewServer(context.Background(), serve, nil))
	go func() {
		fmt.Println("listening", listener.Addr())
		fail(service.Serve(listener))
	}()
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var n int
		var weight uint32
		if _, err := fmt.Sscanf(orders.Text(), "change %d %d", &n, &weight); err != nil {
			return err
		}
		fmt.Println("changing", time.Now().UnixNano())
		if err := change(n, weight); err != nil {
			return err
		}
	}
	return orders.Err()
}

func newCache(kind string, clusters, endpoints int) (cache.Cache, changer, error) {
	all := make([]types.Resource, clusters)
	loads := make([]types.Resource, clusters)
	for n := range clusters {
		all[n] = newCluster(n)
		loads[n] = newLoad(n, endpoints, 1)
	}
	switch kind {
	case "linear":
		byName := func(list []types.Resource) map[string]types.Resource {
			named := make(map[string]types.Resource, len(list))
			for _, one := range list {
				named[cache.GetResourceName(one)] = one
			}
			return named
		}
		clusterCache := cache.NewLinearCache(resource.ClusterType, cache.WithInitialResources(byName(all)))
		loadCache := cache.NewLinearCache(resource.EndpointType, cache.WithInitialResources(byName(loads)))
		mux := &cache.MuxCache{
			Classify:      func(request *cache.Request) string { return request.GetTypeUrl() },
			ClassifyDelta: func(request *cache.DeltaRequest) string { return request.GetTypeUrl() },
			Caches:        map[string]cache.Cache{resource.ClusterType: clusterCache, resource.EndpointType: loadCache},
		}
		return mux, func(n int, weight uint32) error {
			return loadCache.UpdateResource(name(n), newLoad(n, endpoints, weight))
		}, nil
	case "snapshot":
		nodes := cache.NewSnapshotCache(true, everybody{}, nil)
		set := func(version string) error {
			snapshot, err := cache.NewSnapshot(version, map[resource.Type][]types.Resource{
				resource.ClusterType: all, resource.EndpointType: loads,
			})
			if err != nil {
				return err
			}
			return nodes.SetSnapshot(context.Background(), "all", snapshot)
		}
		return nodes, func(n int, weight uint32) error {
			loads[n] = newLoad(n, endpoints, weight)
			return set(fmt.Sprint(weight))
		}, set("1")
	default:
		return nil, nil, fmt.Errorf("-cache %s: expected linear or snapshot", kind)
	}
}

// everybody gets the same snapshot.
type everybody struct{}

func (everybody) ID(*core.Node) string { return "all" }

func name(n int) string {
	return fmt.Sprintf("outbound|80||service-%d.mesh.internal", n)
}

func newCluster(n int) *cluster.Cluster {
	ads := &core.ConfigSource{
		ResourceApiVersion:    core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}
	return &cluster.Cluster{
		Name:                 name(n),
		ConnectTimeout:       durationpb.New(time.Second),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: ads},
	}
}

func newLoad(n, endpoints int, weight uint32) *endpoint.ClusterLoadAssignment {
	list := make([]*endpoint.LbEndpoint, endpoints)
	for e := range list {
		address := &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address:       fmt.Sprintf("10.%d.%d.%d", n>>8, n&255, e+1),
			PortSpecifier: &core.SocketAddress_PortValue{PortValue: 8080},
		}}}
		own := uint32(1)
		if e == 0 {
			own = weight
		}
		list[e] = &endpoint.LbEndpoint{
			HostIdentifier:      &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: address}},
			LoadBalancingWeight: wrapperspb.UInt32(own),
		}
	}
	return &endpoint.ClusterLoadAssignment{
		ClusterName: name(n),
		Endpoints: []*endpoint.LocalityLbEndpoints{{
			Locality:            &core.Locality{Region: "eu", Zone: "eu-1a"},
			LoadBalancingWeight: wrapperspb.UInt32(uint32(endpoints)),
			LbEndpoints:         list,
		}},
	}
}
