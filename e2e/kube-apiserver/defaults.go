package main

import (
	"fmt"
	"hash/fnv"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// addDefaults registers what is filled in whenever an object is read, so that writers never see it missing.
func addDefaults(scheme *runtime.Scheme) {
	scheme.AddTypeDefaultingFunc(&corev1.Service{}, func(object any) { defaultService(object.(*corev1.Service)) })
	scheme.AddTypeDefaultingFunc(&discoveryv1.EndpointSlice{}, func(object any) {
		ports := object.(*discoveryv1.EndpointSlice).Ports
		for i := range ports {
			if ports[i].Name == nil {
				ports[i].Name = ptr.To("")
			}
			if ports[i].Protocol == nil {
				ports[i].Protocol = ptr.To(corev1.ProtocolTCP)
			}
		}
	})
	scheme.AddTypeDefaultingFunc(&corev1.Secret{}, func(object any) {
		if secret := object.(*corev1.Secret); secret.Type == "" {
			secret.Type = corev1.SecretTypeOpaque
		}
	})
}

func defaultService(service *corev1.Service) {
	spec := &service.Spec
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	if spec.SessionAffinity == corev1.ServiceAffinityClientIP && spec.SessionAffinityConfig == nil {
		seconds := corev1.DefaultClientIPServiceAffinitySeconds
		spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
			ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(seconds)},
		}
	}
	if spec.InternalTrafficPolicy == nil && spec.Type != corev1.ServiceTypeExternalName {
		spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
	}
	if isOutside(spec) && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && spec.AllocateLoadBalancerNodePorts == nil {
		spec.AllocateLoadBalancerNodePorts = ptr.To(true)
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if port.Protocol == "" {
			port.Protocol = corev1.ProtocolTCP
		}
		if port.TargetPort == intstr.FromInt32(0) || port.TargetPort == intstr.FromString("") {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
}

func isOutside(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer
}

// prepareService gives out addresses, families and node ports, and keeps those that a service has.
func prepareService(object, old runtime.Object) {
	service := object.(*corev1.Service)
	spec := &service.Spec
	var before *corev1.ServiceSpec
	if old != nil {
		before = &old.(*corev1.Service).Spec
	}
	if spec.Type == corev1.ServiceTypeExternalName {
		// A change to this type lets go of what was given out before.
		if before != nil && spec.ClusterIP == before.ClusterIP {
			spec.ClusterIP, spec.ClusterIPs, spec.IPFamilies, spec.IPFamilyPolicy = "", nil, nil, nil
		}
		return
	}
	if before != nil && before.Type != corev1.ServiceTypeExternalName {
		if spec.ClusterIP == "" {
			spec.ClusterIP = before.ClusterIP
		}
		if len(spec.ClusterIPs) == 0 && spec.ClusterIP == before.ClusterIP {
			spec.ClusterIPs = slices.Clone(before.ClusterIPs)
		}
		if len(spec.IPFamilies) == 0 && spec.IPFamilyPolicy == nil {
			spec.IPFamilies = slices.Clone(before.IPFamilies)
			spec.IPFamilyPolicy = before.IPFamilyPolicy
		}
	}
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	chooseFamilies(spec)
	chooseAddresses(service)
	chooseNodePorts(service, before)
}

// chooseFamilies does as a cluster with both families does.
func chooseFamilies(spec *corev1.ServiceSpec) {
	headless := spec.ClusterIP == corev1.ClusterIPNone
	if spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		if len(spec.IPFamilies) > 1 || len(spec.ClusterIPs) > 1 || headless && len(spec.Selector) == 0 {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		spec.IPFamilyPolicy = &policy
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	switch {
	case *spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack:
		spec.IPFamilies = spec.IPFamilies[:1]
	case len(spec.IPFamilies) == 1 && spec.IPFamilies[0] == corev1.IPv4Protocol:
		spec.IPFamilies = append(spec.IPFamilies, corev1.IPv6Protocol)
	case len(spec.IPFamilies) == 1:
		spec.IPFamilies = append(spec.IPFamilies, corev1.IPv4Protocol)
	}
}

// chooseAddresses derives addresses from the name. Two services may get the same one; no test minds.
func chooseAddresses(service *corev1.Service) {
	spec := &service.Spec
	if spec.ClusterIP == corev1.ClusterIPNone {
		spec.ClusterIPs = []string{corev1.ClusterIPNone}
		return
	}
	hash := hashOf(service)
	for i, family := range spec.IPFamilies {
		address := fmt.Sprintf("10.96.%d.%d", hash>>8&0xff, hash&0xff)
		if family == corev1.IPv6Protocol {
			address = fmt.Sprintf("fd00:10:96::%x", hash&0xffff|0x1000)
		}
		switch {
		case i < len(spec.ClusterIPs):
		case i == 0 && spec.ClusterIP != "":
			spec.ClusterIPs = append(spec.ClusterIPs, spec.ClusterIP)
		default:
			spec.ClusterIPs = append(spec.ClusterIPs, address)
		}
	}
	spec.ClusterIPs = spec.ClusterIPs[:len(spec.IPFamilies)]
	spec.ClusterIP = spec.ClusterIPs[0]
}

func chooseNodePorts(service *corev1.Service, before *corev1.ServiceSpec) {
	spec := &service.Spec
	if !isOutside(spec) || spec.AllocateLoadBalancerNodePorts != nil && !*spec.AllocateLoadBalancerNodePorts {
		return
	}
	for i := range spec.Ports {
		port := &spec.Ports[i]
		if port.NodePort != 0 {
			continue
		}
		port.NodePort = int32(30000 + (hashOf(service)+uint32(i))%2768)
		if before == nil {
			continue
		}
		for _, other := range before.Ports {
			if other.Name == port.Name && other.Protocol == port.Protocol && other.NodePort != 0 {
				port.NodePort = other.NodePort
			}
		}
	}
}

func hashOf(service *corev1.Service) uint32 {
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%s/%s", service.Namespace, service.Name)
	return hash.Sum32()
}

func validateService(object, old runtime.Object) field.ErrorList {
	var errors field.ErrorList
	spec := object.(*corev1.Service).Spec
	path := field.NewPath("spec")
	for i, port := range spec.Ports {
		if port.Port < 1 || port.Port > 65535 {
			errors = append(errors, field.Invalid(path.Child("ports").Index(i).Child("port"), port.Port,
				"must be between 1 and 65535, inclusive"))
		}
	}
	if spec.Type == corev1.ServiceTypeExternalName && spec.ExternalName == "" {
		errors = append(errors, field.Required(path.Child("externalName"), ""))
	}
	if old != nil {
		before := old.(*corev1.Service).Spec
		if before.ClusterIP != "" && spec.Type != corev1.ServiceTypeExternalName {
			errors = append(errors, validation.ValidateImmutableField(spec.ClusterIP, before.ClusterIP, path.Child("clusterIP"))...)
		}
	}
	return errors
}

func prepareEndpointSlice(object, old runtime.Object) {
	slice := object.(*discoveryv1.EndpointSlice)
	if old == nil {
		slice.Generation = 1
		return
	}
	before := old.(*discoveryv1.EndpointSlice)
	slice.Generation = before.Generation
	if slice.AddressType != before.AddressType || !apiequality.Semantic.DeepEqual(slice.Endpoints, before.Endpoints) ||
		!apiequality.Semantic.DeepEqual(slice.Ports, before.Ports) ||
		!apiequality.Semantic.DeepEqual(slice.Labels, before.Labels) {
		slice.Generation++
	}
}

func validateEndpointSlice(object, old runtime.Object) field.ErrorList {
	kind := object.(*discoveryv1.EndpointSlice).AddressType
	path := field.NewPath("addressType")
	if old != nil {
		return validation.ValidateImmutableField(kind, old.(*discoveryv1.EndpointSlice).AddressType, path)
	}
	known := []discoveryv1.AddressType{
		discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6,
	}
	if kind == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if !slices.Contains(known, kind) {
		return field.ErrorList{field.NotSupported(path, kind, known)}
	}
	return nil
}

// prepareSecret does what the real server does when it converts a secret that it is sent.
func prepareSecret(object, _ runtime.Object) {
	secret := object.(*corev1.Secret)
	if len(secret.StringData) > 0 && secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for key, value := range secret.StringData {
		secret.Data[key] = []byte(value)
	}
	secret.StringData = nil
}

func prepareNamespace(object, old runtime.Object) {
	namespace := object.(*corev1.Namespace)
	if namespace.Labels == nil {
		namespace.Labels = map[string]string{}
	}
	namespace.Labels[corev1.LabelMetadataName] = namespace.Name
	if old == nil {
		namespace.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
		namespace.Status.Phase = corev1.NamespaceActive
	}
}

func preparePod(object, old runtime.Object) {
	if old == nil {
		object.(*corev1.Pod).Status.Phase = corev1.PodPending
	}
}
