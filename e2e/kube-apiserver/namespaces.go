package main

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/klog/v2"
)

// These are in every cluster.
var always = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// guardNamespaces refuses objects in namespaces that do not exist, and makes those that always do.
func guardNamespaces(config *server.RecommendedConfig) error {
	client, err := kubernetes.NewForConfig(config.LoopbackClientConfig)
	if err != nil {
		return err
	}
	// The generic server starts it.
	config.SharedInformerFactory = informers.NewSharedInformerFactory(client, 0)
	guard, err := lifecycle.NewLifecycle(sets.New(always[:3]...))
	if err != nil {
		return err
	}
	guard.SetExternalKubeClientSet(client)
	guard.SetExternalKubeInformerFactory(config.SharedInformerFactory)
	config.AdmissionControl = guard
	return config.AddPostStartHook("namespaces", func(hook server.PostStartHookContext) error {
		for _, name := range always {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			_, err := client.CoreV1().Namespaces().Create(hook, namespace, metav1.CreateOptions{})
			if err != nil && !errors.IsAlreadyExists(err) {
				return err
			}
		}
		return nil
	})
}

// emptyNamespace deletes what was in a namespace, of any kind, once that is gone. In a cluster a controller does
// so, and the namespace stays until it has.
func emptyNamespace(api *server.GenericAPIServer) registry.AfterDeleteFunc {
	return func(object runtime.Object, _ *metav1.DeleteOptions) {
		accessor, err := meta.Accessor(object)
		if err != nil {
			return
		}
		go func() {
			if err := purge(api, accessor.GetName()); err != nil {
				klog.ErrorS(err, "The namespace could not be emptied", "namespace", accessor.GetName())
			}
		}()
	}
}

func purge(api *server.GenericAPIServer, namespace string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lister, err := discovery.NewDiscoveryClientForConfig(api.LoopbackClientConfig)
	if err != nil {
		return err
	}
	client, err := metadata.NewForConfig(api.LoopbackClientConfig)
	if err != nil {
		return err
	}
	groups, err := lister.ServerPreferredNamespacedResources()
	if err != nil {
		return err
	}
	for _, group := range groups {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			return err
		}
		for _, resource := range group.APIResources {
			if !slices.Contains(resource.Verbs, "deletecollection") {
				continue
			}
			in := client.Resource(version.WithResource(resource.Name)).Namespace(namespace)
			err := in.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
			if err != nil && !errors.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}
