package main

import (
	"fmt"
	"net"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	crdoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	crdopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/server"
	serveroptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
)

// Under this path is what tests do to the server; only administrators may.
const testingPath = "/testing/"

// Open watches may hold up an end so long.
const watchGrace = time.Second

// build makes one server for built-in kinds and custom resources, and all that a test may do to it.
func build(o options, store *store) (*server.GenericAPIServer, error) {
	// Before any option is applied: they look at the gates.
	if err := utilfeature.DefaultMutableFeatureGate.Set(o.featureGates); err != nil {
		return nil, fmt.Errorf("--feature-gates: %w", err)
	}
	addKinds(apiextensions.Scheme)
	recommended := server.NewRecommendedConfig(apiextensions.Codecs)
	config := &recommended.Config
	if err := serveroptions.NewServerRunOptions().ApplyTo(config); err != nil {
		return nil, err
	}
	config.ShutdownWatchTerminationGracePeriod = watchGrace

	etcd := etcdOptions(o, store)
	if err := etcd.ApplyTo(config); err != nil {
		return nil, err
	}
	serving := serveroptions.NewSecureServingOptions()
	serving.BindAddress = net.IPv4(127, 0, 0, 1)
	serving.BindPort = o.securePort
	serving.ServerCert.CertDirectory = o.certDir
	serving.ServerCert.PairName = "apiserver"
	if err := serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, nil); err != nil {
		return nil, err
	}
	if err := serving.WithLoopback().ApplyToConfig(config); err != nil {
		return nil, err
	}
	// Both before the configuration is completed, which adds the server's own user to them.
	config.Authentication.Authenticator = authentication(o.tokenFile)
	config.Authorization.Authorizer = authorization(o.accessFile)

	// The published modules have no schemas of the built-in kinds; see install.go.
	config.OpenAPIV3Config = server.DefaultOpenAPIV3Config(
		crdopenapi.GetOpenAPIDefinitions, openapinamer.NewDefinitionNamer(apiextensions.Scheme))
	config.OpenAPIV3Config.IgnorePrefixes = []string{"/api/v1", "/apis/discovery.k8s.io"}
	config.MergedResourceConfig = apiextensions.DefaultAPIResourceConfigSource()
	if err := guardNamespaces(recommended); err != nil {
		return nil, err
	}

	crds := apiextensions.Config{
		GenericConfig: recommended,
		ExtraConfig: apiextensions.ExtraConfig{
			CRDRESTOptionsGetter: crdoptions.NewCRDRESTOptionsGetter(*etcd, nil, config.StorageObjectCountTracker),
			// More than one would delay each definition by five seconds.
			MasterCount:         1,
			AuthResolverWrapper: webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, nil, config.TracerProvider),
		},
	}
	completed := crds.Complete()
	// It is meant to stand behind an aggregator, which would serve /apis.
	completed.GenericConfig.EnableDiscovery = true
	extended, err := completed.New(server.NewEmptyDelegate())
	if err != nil {
		return nil, err
	}
	api := extended.GenericAPIServer
	if err := installKinds(api, config); err != nil {
		return nil, err
	}
	if err := listGroups(api, extended.Informers); err != nil {
		return nil, err
	}
	api.Handler.NonGoRestfulMux.Handle(testingPath+"compact", store)
	return api, nil
}

func etcdOptions(o options, store *store) *serveroptions.EtcdOptions {
	stored := schema.GroupVersions(append(versions(), apiextensionsv1.SchemeGroupVersion))
	// As the real server does; it takes half the time of JSON.
	codec := apiextensions.Codecs.CodecForVersions(protobuf.NewSerializer(apiextensions.Scheme, apiextensions.Scheme),
		apiextensions.Codecs.UniversalDeserializer(), stored, runtime.InternalGroupVersioner)
	etcd := serveroptions.NewEtcdOptions(storagebackend.NewDefaultConfig(o.storagePrefix, codec))
	etcd.StorageConfig.Transport.ServerList = []string{store.address()}
	// A test compacts when it wants to. With none at all, watch caches would not follow compactions.
	etcd.StorageConfig.CompactionInterval = 1000 * time.Hour
	// There is no collector that would ever take the finalizers off again.
	etcd.EnableGarbageCollection = false
	etcd.WatchCacheSizes = list(o.uncached)
	return etcd
}
