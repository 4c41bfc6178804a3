mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name           = "adloom-dev"
  cidr           = "10.20.0.0/16"
  zones          = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  reserved_cidrs = ["10.30.0.0/16", "192.168.0.0/16"]
}

run "three_zones_with_a_gateway_each" {
  command = plan

  assert {
    condition     = [for zone in sort(keys(aws_subnet.private)) : aws_subnet.private[zone].cidr_block] == ["10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20"]
    error_message = "each zone must have its private subnet"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_route.nat) == 3
    error_message = "each zone must have its own way out"
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch == false])
    error_message = "nothing gets a public address by being started in the wrong subnet"
  }

  assert {
    condition     = length(distinct(concat([for s in aws_subnet.public : s.cidr_block], [for s in aws_subnet.private : s.cidr_block], [for s in aws_subnet.data : s.cidr_block]))) == 9
    error_message = "nine subnets, and no range twice"
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && contains(keys(aws_vpc_endpoint.interface), "ecr.dkr")
    error_message = "S3 and the registry must be reached without leaving the network"
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "every connection is recorded, and for a year"
  }
}

run "one_gateway_for_all" {
  command = plan

  variables {
    nat_per_zone = false
  }

  assert {
    condition     = join(" ", keys(aws_nat_gateway.this)) == "eu-central-1a" && length(aws_route.nat) == 3
    error_message = "one gateway in the first zone, and every zone must lead to it"
  }
}

run "the_range_beside_a_reserved_one_is_free" {
  command = plan

  variables {
    cidr           = "10.20.0.0/17"
    reserved_cidrs = ["10.20.128.0/17"]
  }

  assert {
    condition     = aws_vpc.this.cidr_block == "10.20.0.0/17"
    error_message = "ranges that touch do not overlap"
  }
}
