import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Configuration;

/**
 * Spring Cloud's Eureka server and nothing else. What tests vary comes by the command line, see
 * {@code registry_testkit::eureka}; what they never do is in {@code application.properties}.
 *
 * <p>Without a package there must be no scan for components: it would read every library.
 */
@Configuration(proxyBeanMethods = false)
@EnableAutoConfiguration
@EnableEurekaServer
public class EurekaServer {
    public static void main(String[] arguments) {
        SpringApplication.run(EurekaServer.class, arguments);
    }
}
