package main

import (
	"context"
	"fmt"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// resource is a kind behind its path.
type resource struct {
	*registry.Store
	short []string
}

// ShortNames are for kubectl.
func (r *resource) ShortNames() []string { return r.short }

// statusResource is the path of a kind's status: the same store, written by another strategy.
type statusResource struct {
	store *registry.Store
}

func (s *statusResource) New() runtime.Object { return s.store.New() }
func (s *statusResource) Destroy()            {} // The store is shared; its own path destroys it.

func (s *statusResource) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.store.Get(ctx, name, options)
}

func (s *statusResource) Update(
	ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions,
) (runtime.Object, bool, error) {
	return s.store.Update(ctx, name, info, create, update, false, options)
}

func (s *statusResource) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.store.GetResetFields()
}

func (s *statusResource) ConvertToTable(ctx context.Context, object, options runtime.Object) (*metav1.Table, error) {
	return s.store.ConvertToTable(ctx, object, options)
}

// installKinds serves the built-in kinds. The server's own InstallAPIGroup would need schemas of them to merge
// what is applied; client-go brings a merge schema along instead.
func installKinds(api *server.GenericAPIServer, config *server.Config) error {
	for _, version := range versions() {
		resources := map[string]rest.Storage{}
		for _, kind := range kinds {
			if kind.version != version {
				continue
			}
			store, err := kind.store(config.RESTOptionsGetter)
			if err != nil {
				return fmt.Errorf("%s: %w", kind.resource, err)
			}
			resources[kind.resource] = &resource{Store: store, short: kind.short}
			if kind.name == "Namespace" {
				store.AfterDelete = emptyNamespace(api)
			}
			if kind.status {
				status := *store
				statusStrategy := kind.strategy()
				statusStrategy.statusOnly = true
				status.UpdateStrategy, status.ResetFieldsStrategy = statusStrategy, statusStrategy
				resources[kind.resource+"/status"] = &statusResource{store: &status}
			}
		}
		if err := installVersion(api, config, version, resources); err != nil {
			return fmt.Errorf("%s: %w", version, err)
		}
	}
	return nil
}

func (k kind) strategy() strategy {
	return strategy{ObjectTyper: apiextensions.Scheme, NameGenerator: names.SimpleNameGenerator, kind: k}
}

func (k kind) store(options generic.RESTOptionsGetter) (*registry.Store, error) {
	strategy := k.strategy()
	store := &registry.Store{
		NewFunc:                   func() runtime.Object { return k.object.DeepCopyObject() },
		NewListFunc:               func() runtime.Object { return k.list.DeepCopyObject() },
		DefaultQualifiedResource:  k.group(k.resource),
		SingularQualifiedResource: k.group(k.singular),
		CreateStrategy:            strategy,
		UpdateStrategy:            strategy,
		DeleteStrategy:            strategy,
		ResetFieldsStrategy:       strategy,
		TableConvertor:            rest.NewDefaultTableConvertor(k.group(k.resource)),
		// In the real server, pods and namespaces are still there after their deletion began.
		ReturnDeletedObject: k.name == "Pod" || k.name == "Service" || k.name == "Namespace",
	}
	return store, store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options, AttrFunc: k.attributes})
}

func installVersion(
	api *server.GenericAPIServer, config *server.Config, version schema.GroupVersion, resources map[string]rest.Storage,
) error {
	scheme := apiextensions.Scheme
	root := server.APIGroupPrefix
	if version.Group == "" {
		root = server.DefaultLegacyAPIPrefix
	}
	served := map[string][]string{}
	for name := range resources {
		served[name] = []string{version.String()}
	}
	installed := &endpoints.APIGroupVersion{
		Root:                        root,
		GroupVersion:                version,
		Storage:                     resources,
		AllServedVersionsByResource: served,
		OptionsExternalVersion:      &schema.GroupVersion{Version: "v1"},
		ParameterCodec:              metav1.ParameterCodec,
		Serializer: serializer.NewCodecFactory(scheme,
			serializer.WithStreamingCollectionEncodingToJSON(), serializer.WithStreamingCollectionEncodingToProtobuf()),
		Creater:                    scheme,
		Convertor:                  scheme,
		ConvertabilityChecker:      scheme,
		UnsafeConvertor:            runtime.UnsafeObjectConvertor(scheme),
		Defaulter:                  scheme,
		Typer:                      scheme,
		Namer:                      runtime.Namer(meta.NewAccessor()),
		TypeConverter:              typeConverter(scheme),
		EquivalentResourceRegistry: api.EquivalentResourceRegistry,
		Admit:                      config.AdmissionControl,
		MinRequestTimeout:          time.Duration(config.MinRequestTimeout) * time.Second,
		MaxRequestBodyBytes:        config.MaxRequestBodyBytes,
		Authorizer:                 api.Authorizer,
	}
	discovered, _, err := installed.InstallREST(api.Handler.GoRestfulContainer)
	if err != nil {
		return err
	}
	for _, storage := range resources {
		api.RegisterDestroyFunc(storage.Destroy)
	}
	listed := apidiscoveryv2.APIVersionDiscovery{
		Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Version: version.Version, Resources: discovered,
	}
	if version.Group == "" {
		api.AggregatedLegacyDiscoveryGroupManager.AddGroupVersion(version.Group, listed)
		legacy := discovery.NewLegacyRootAPIHandler(config.DiscoveryAddresses, api.Serializer, root)
		manager := api.AggregatedLegacyDiscoveryGroupManager
		wrapped := aggregated.WrapAggregatedDiscoveryToHandler(legacy, manager, manager)
		api.Handler.GoRestfulContainer.Add(wrapped.GenerateWebService(root, metav1.APIVersions{}))
		return nil
	}
	api.AggregatedDiscoveryGroupManager.AddGroupVersion(version.Group, listed)
	group := apiGroup(version.Group, []string{version.Version})
	api.DiscoveryGroupManager.AddGroup(group)
	api.Handler.GoRestfulContainer.Add(discovery.NewAPIGroupHandler(api.Serializer, group).WebService())
	return nil
}

func typeConverter(scheme *runtime.Scheme) managedfields.TypeConverter {
	return applyconfigurations.NewTypeConverter(scheme)
}

// apiGroup is a group in the list of all groups; the first version is the preferred one.
func apiGroup(name string, versions []string) metav1.APIGroup {
	group := metav1.APIGroup{Name: name}
	for _, version := range versions {
		group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{
			GroupVersion: name + "/" + version, Version: version,
		})
	}
	group.PreferredVersion = group.Versions[0]
	return group
}
