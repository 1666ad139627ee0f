package main

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// kind is a built-in kind of object.
type kind struct {
	version    schema.GroupVersion
	name       string
	resource   string
	singular   string
	short      []string
	namespaced bool
	object     runtime.Object
	list       runtime.Object
	// Whether the status is written through a path of its own only.
	status bool
	// What a field selector may ask for, besides name and namespace.
	fields func(object runtime.Object) fields.Set
	// What is filled in before an object is stored; old is nil when it is new.
	prepare func(object, old runtime.Object)
	// What an object must not be; old is nil when it is new.
	validate func(object, old runtime.Object) field.ErrorList
}

// kinds is everything that is served besides custom resources and their definitions.
var kinds = []kind{
	{
		version: corev1.SchemeGroupVersion, name: "Namespace", resource: "namespaces", singular: "namespace",
		short: []string{"ns"}, object: &corev1.Namespace{}, list: &corev1.NamespaceList{}, status: true,
		fields: func(object runtime.Object) fields.Set {
			return fields.Set{"status.phase": string(object.(*corev1.Namespace).Status.Phase)}
		},
		prepare: prepareNamespace,
	},
	{
		version: corev1.SchemeGroupVersion, name: "Node", resource: "nodes", singular: "node",
		short: []string{"no"}, object: &corev1.Node{}, list: &corev1.NodeList{}, status: true,
	},
	{
		version: corev1.SchemeGroupVersion, name: "Pod", resource: "pods", singular: "pod",
		short: []string{"po"}, namespaced: true, object: &corev1.Pod{}, list: &corev1.PodList{}, status: true,
		fields: func(object runtime.Object) fields.Set {
			pod := object.(*corev1.Pod)
			return fields.Set{
				"spec.nodeName": pod.Spec.NodeName,
				"status.phase":  string(pod.Status.Phase),
				"status.podIP":  pod.Status.PodIP,
			}
		},
		prepare: preparePod,
	},
	{
		version: corev1.SchemeGroupVersion, name: "Service", resource: "services", singular: "service",
		short: []string{"svc"}, namespaced: true, object: &corev1.Service{}, list: &corev1.ServiceList{}, status: true,
		fields: func(object runtime.Object) fields.Set {
			spec := object.(*corev1.Service).Spec
			return fields.Set{"spec.clusterIP": spec.ClusterIP, "spec.type": string(spec.Type)}
		},
		prepare: prepareService, validate: validateService,
	},
	{
		version: corev1.SchemeGroupVersion, name: "Endpoints", resource: "endpoints", singular: "endpoints",
		short: []string{"ep"}, namespaced: true, object: &corev1.Endpoints{}, list: &corev1.EndpointsList{},
	},
	{
		version: corev1.SchemeGroupVersion, name: "ConfigMap", resource: "configmaps", singular: "configmap",
		short: []string{"cm"}, namespaced: true, object: &corev1.ConfigMap{}, list: &corev1.ConfigMapList{},
	},
	{
		version: corev1.SchemeGroupVersion, name: "Secret", resource: "secrets", singular: "secret",
		namespaced: true, object: &corev1.Secret{}, list: &corev1.SecretList{},
		fields: func(object runtime.Object) fields.Set {
			return fields.Set{"type": string(object.(*corev1.Secret).Type)}
		},
		prepare: prepareSecret,
	},
	{
		version: discoveryv1.SchemeGroupVersion, name: "EndpointSlice", resource: "endpointslices",
		singular: "endpointslice", namespaced: true, object: &discoveryv1.EndpointSlice{},
		list: &discoveryv1.EndpointSliceList{}, prepare: prepareEndpointSlice, validate: validateEndpointSlice,
	},
}

// versions are the group versions of the built-in kinds.
func versions() []schema.GroupVersion {
	return []schema.GroupVersion{corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion}
}

// addKinds makes the built-in kinds known to a scheme.
func addKinds(scheme *runtime.Scheme) {
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(discoveryv1.AddToScheme(scheme))
	for _, version := range versions() {
		utilruntime.Must(scheme.SetVersionPriority(version))
	}
	for _, kind := range kinds {
		// Storage, patches and field managers all convert to the internal version. It is the same type here, so
		// that nothing has to be converted.
		internal := schema.GroupVersion{Group: kind.version.Group, Version: runtime.APIVersionInternal}
		scheme.AddKnownTypeWithName(internal.WithKind(kind.name), kind.object.DeepCopyObject())
		scheme.AddKnownTypeWithName(internal.WithKind(kind.name+"List"), kind.list.DeepCopyObject())
		utilruntime.Must(scheme.AddFieldLabelConversionFunc(kind.version.WithKind(kind.name), kind.fieldLabel))
	}
	addDefaults(scheme)
}

func (k kind) group(resource string) schema.GroupResource {
	return schema.GroupResource{Group: k.version.Group, Resource: resource}
}

// fieldLabel refuses selectors of fields that are not served.
func (k kind) fieldLabel(label, value string) (string, string, error) {
	if k.fields != nil {
		if _, known := k.fields(k.object)[label]; known {
			return label, value, nil
		}
	}
	return runtime.DefaultMetaV1FieldSelectorConversion(label, value)
}

// attributes are what selectors match.
func (k kind) attributes(object runtime.Object) (labels.Set, fields.Set, error) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, nil, err
	}
	set := fields.Set{"metadata.name": accessor.GetName()}
	if k.namespaced {
		set["metadata.namespace"] = accessor.GetNamespace()
	}
	if k.fields != nil {
		for label, value := range k.fields(object) {
			set[label] = value
		}
	}
	return accessor.GetLabels(), set, nil
}

// part is a field of an object, such as its status.
func part(object runtime.Object, name string) reflect.Value {
	return reflect.ValueOf(object).Elem().FieldByName(name)
}
